"""The interface between the core and the adapter of one provider.

* `adapter`: the contract, `Adapter`. `capabilities`: what a provider supports, and `plan`.
* `facts`: what `decode` returns. `results`: what `submit` and `inspect` return.
* `deadline`, `http`, `json`, `urls`, `secret`, `clock`: tools for adapters.
* `entry_points`, `registry`: how installed adapters are found and loaded.
"""
