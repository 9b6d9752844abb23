"""From a request to its outcome.

* `planning`: checks a request against its provider and completes it. `incoming`: redirects made from an
  event.
* `ledger`: commits inputs to the store, and logs and counts what was committed.
* `sender`: records requests, sends their attempts and records the answers. `unrecorded`: keeps answers that
  the store cannot take yet.
* `scheduler`: does due work. `inspector`: queries providers about calls.
* `lifespan`, `tasks`, `components`: what an open client consists of. `handles`: what it returns.
"""
