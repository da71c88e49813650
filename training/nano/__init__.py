"""How the embedded base model was made: human prompts, text, tokenizer, pretraining.

Run once per release of the base, by hand and on a GPU; docs/nano.md lists the commands. Reads a folder of public text and
utterances that is not part of the repository; only the weights are, with their sources in the model card.
"""
