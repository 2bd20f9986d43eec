"""What all estimators share: labels, samples, rows, progress, callbacks."""
