{{/* What one key's schema cannot say: keys that contradict each other. One sentence each, with the way out. */}}
{{- define "modelmill.checks" -}}
{{- $name := include "modelmill.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the release's name makes objects named %q, and a Service's name begins with a letter and has letters, digits and hyphens alone; take another name, or set fullnameOverride" $name) -}}
{{- end -}}
{{- range $key, $address := dict "s3.endpoint" .Values.s3.endpoint "mlflow.uri" .Values.mlflow.uri -}}
{{- if contains "@" $address -}}
{{- fail (printf "%s: holds a user or a password, which everyone could read; keys belong into a Secret" $key) -}}
{{- end -}}
{{- end -}}
{{- $s3 := .Values.secrets.s3 -}}
{{- if and $s3.existing $s3.make -}}
{{- fail (printf "secrets.s3: existing (%s) and make at once; name a Secret, or have one made" $s3.existing) -}}
{{- end -}}
{{- if and $s3.make (not .Values.seaweedfs.enabled) -}}
{{- fail "secrets.s3.make: random keys are of use to seaweedfs.enabled alone; another store knows its own: name the Secret with them in secrets.s3.existing" -}}
{{- end -}}
{{- if and .Values.seaweedfs.enabled (not (include "modelmill.s3.secret" .)) -}}
{{- fail "seaweedfs.enabled: it has no keys; set secrets.s3.make=true, or name a Secret in secrets.s3.existing" -}}
{{- end -}}
{{- if and .Values.seaweedfs.enabled .Values.s3.endpoint -}}
{{- fail (printf "s3.endpoint (%s) and seaweedfs.enabled at once: which of the two is the store? leave one out" .Values.s3.endpoint) -}}
{{- end -}}
{{- include "modelmill.checks.mlflow" . -}}
{{- include "modelmill.checks.serving" . -}}
{{- range $who, $account := .Values.serviceAccounts -}}
{{- if not (or $account.make $account.name) -}}
{{- fail (printf "serviceAccounts.%s: neither made nor named; set make=true, or name one that is there" $who) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "modelmill.account.steps" .) (include "modelmill.account.services" .) -}}
{{- fail (printf "serviceAccounts: steps and services are both %q; services must not have the steps' rights" (include "modelmill.account.steps" .)) -}}
{{- end -}}
{{- if and .Values.network.egress.enabled (not .Values.network.enabled) -}}
{{- fail "network.egress.enabled: there are no network policies, since network.enabled is false; set both, or neither" -}}
{{- end -}}
{{- if and .Values.network.egress.enabled (not .Values.network.egress.to) (not .Values.seaweedfs.enabled) -}}
{{- fail "network.egress.to: S3 lies outside the chart and no rule leads there; add one, such as {ports: [{port: 443, protocol: TCP}]}" -}}
{{- end -}}
{{- end -}}

{{- define "modelmill.checks.mlflow" -}}
{{- $mlflow := .Values.mlflow -}}
{{- if $mlflow.enabled -}}
{{- if and (eq $mlflow.backend "sqlite") $mlflow.postgresql.secret -}}
{{- fail (printf "mlflow.postgresql.secret (%s), but mlflow.backend is sqlite; a server has one database: set mlflow.backend=postgresql, or leave the secret out" $mlflow.postgresql.secret) -}}
{{- end -}}
{{- if and (eq $mlflow.backend "postgresql") (not $mlflow.postgresql.secret) -}}
{{- fail "mlflow.postgresql.secret: mlflow.backend is postgresql, and no Secret with its URI is named" -}}
{{- end -}}
{{- if and (eq $mlflow.backend "sqlite") (gt (int $mlflow.replicas) 1) -}}
{{- fail (printf "mlflow.replicas: %d servers cannot share a SQLite file; set mlflow.backend=postgresql, or replicas to 1" (int $mlflow.replicas)) -}}
{{- end -}}
{{- if $mlflow.uri -}}
{{- fail (printf "mlflow.uri (%s) is of another server, but mlflow.enabled is true; set it to false, or leave the uri out" $mlflow.uri) -}}
{{- end -}}
{{- else if and .Values.retention.enabled (not $mlflow.uri) -}}
{{- fail "mlflow.uri: retention must ask MLflow which models are in use; name the server, or set retention.enabled=false" -}}
{{- end -}}
{{- end -}}

{{- define "modelmill.checks.serving" -}}
{{- $serving := .Values.serving -}}
{{- if $serving.enabled -}}
{{- if not $serving.model -}}
{{- fail "serving.model: no address; name the champion's, s3://…/models/<digest>, as `modelmill models show` prints it" -}}
{{- end -}}
{{- if and $serving.canary.model (eq $serving.mode "Standard") -}}
{{- fail "serving.canary.model: in mode Standard KServe gives a canary only to models that it downloads itself; set serving.mode=Knative" -}}
{{- end -}}
{{- if eq $serving.canary.model $serving.model -}}
{{- fail "serving.canary.model is serving.model; name the challenger's address, or leave it out" -}}
{{- end -}}
{{- if gt (int $serving.minReplicas) (int $serving.maxReplicas) -}}
{{- fail (printf "serving.minReplicas (%d) is more than serving.maxReplicas (%d)" (int $serving.minReplicas) (int $serving.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
