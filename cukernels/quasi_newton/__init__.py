"""What L-BFGS does with the vectors of a stack of models, on the device where they lie."""
