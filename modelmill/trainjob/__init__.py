"""Training on several nodes: a step asks Kubeflow Trainer for them by a TrainJob, and waits for what comes of it."""
