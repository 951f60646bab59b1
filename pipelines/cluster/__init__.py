"""Kubeflow Pipelines on a cluster: submitting recipes, following and comparing their runs, schedules as code."""
