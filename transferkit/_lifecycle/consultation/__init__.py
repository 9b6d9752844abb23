"""The life cycle of consultations: a second pure machine. Its state is part of that of the caller's call.

A consultation consists of call steps, which are requests of their own. The machine decides which step is
requested next. It continues whenever one of its steps has an outcome, the agent's call changes, the caller's
call ends, the application decides, or a time limit ends.

* `machine`: what each input changes. `progress`: up to the join. `cleanup`: the end without a join.
* `legs`: what is known of the two calls. `publishing`: events, outcomes and due work.
"""
