{{/* The pods of this namespace that speak to the chart's servers: of runs, of TrainJobs, of the chart itself. */}}
{{- define "modelmill.network.steps" -}}
# Kubeflow Pipelines labels each pod of a run so, its own launchers and drivers too.
- podSelector:
    matchExpressions:
      - {key: pipeline/runid, operator: Exists}
- podSelector:
    matchLabels: {app.kubernetes.io/part-of: modelmill}
{{- end -}}
