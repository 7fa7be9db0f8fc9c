"""Raw text to trained weights: corpus, tokenizer, exercises, packing, optimizers, the trainer."""
