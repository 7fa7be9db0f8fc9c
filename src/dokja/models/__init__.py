"""What a model is: architecture as data, one decoder, one file per family."""
