"""Examples that a language model writes: Claude, or an open model that you serve yourself.

    models.py   what a model costs and which settings it takes; whose output is refused
    prompts.py  what the model is asked to write: by kind, tool, topic and style
    plan.py     options -> a frozen plan of requests, and what it may cost
    ledger.py   every paid reply, appended and fsynced before anybody reads it
    clients.py  one request over HTTP: the Messages API, Message Batches, the OpenAI chat API; when to try again
    asking.py   a plan, a ledger and a client -> all requests answered, within the budget
    harvest.py  replies -> examples, and every line that was refused with its reason
    command.py  ``python -m training synthesize``

A run is a folder: plan.json, raw/replies.jsonl (the ledger), examples.jsonl, raw/rejects.jsonl, report.json. The ledger
is the only file that cost money; the last three are made anew from it at the end of every call. examples.jsonl is the
only *.jsonl beside the plan, so that the folder itself can be given to review and build.
"""
