{{/* Names, labels, addresses and images: each is made here and nowhere else. */}}

{{/* 40 characters leave room for the longest suffix within the 52 of a CronJob's name. A cut name ends in a digest. */}}
{{- define "modelmill.fullname" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name -}}
{{- if and (not .Values.fullnameOverride) (not (contains "modelmill" $name)) -}}
{{- $name = printf "%s-modelmill" $name -}}
{{- end -}}
{{- if gt (len $name) 40 -}}
{{- printf "%s-%s" ($name | trunc 31 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* (list . component): the name of an object of a component. */}}
{{- define "modelmill.name" -}}
{{- printf "%s-%s" (include "modelmill.fullname" (first .)) (last .) -}}
{{- end -}}

{{/* (list . component): what never changes over upgrades. */}}
{{- define "modelmill.selector" -}}
app.kubernetes.io/name: modelmill
app.kubernetes.io/instance: {{ (first .).Release.Name | quote }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* (list . component): of pods. Without versions, so that an upgrade which changes nothing of a pod starts none anew. */}}
{{- define "modelmill.podLabels" -}}
{{ include "modelmill.selector" . }}
app.kubernetes.io/part-of: modelmill
{{- end -}}

{{/* (list . component) */}}
{{- define "modelmill.labels" -}}
{{ include "modelmill.podLabels" . }}
app.kubernetes.io/version: {{ (first .).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (first .).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (first .).Chart.Name (first .).Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "modelmill.account.steps" -}}
{{- .Values.serviceAccounts.steps.name | default (include "modelmill.fullname" .) -}}
{{- end -}}

{{- define "modelmill.account.services" -}}
{{- .Values.serviceAccounts.services.name | default (include "modelmill.name" (list . "services")) -}}
{{- end -}}

{{/* (list . "data"): the name of one of this project's images. */}}
{{- define "modelmill.image" -}}
{{- $root := first . -}}
{{- $image := index $root.Values.image (last .) -}}
{{- $name := printf "%s/%s:%s" $root.Values.image.registry $image.name ($root.Values.image.tag | default $root.Chart.AppVersion) -}}
{{- if $image.digest -}}{{ printf "%s@%s" $name $image.digest }}{{- else -}}{{ $name }}{{- end -}}
{{- end -}}

{{/* An image of others: {repository, tag, digest}. */}}
{{- define "modelmill.foreignImage" -}}
{{- $name := printf "%s:%s" .repository .tag -}}
{{- if .digest -}}{{ printf "%s@%s" $name .digest }}{{- else -}}{{ $name }}{{- end -}}
{{- end -}}

{{- define "modelmill.s3.secret" -}}
{{- if .Values.secrets.s3.existing -}}
{{- .Values.secrets.s3.existing -}}
{{- else if .Values.secrets.s3.make -}}
{{- include "modelmill.name" (list . "s3") -}}
{{- end -}}
{{- end -}}

{{- define "modelmill.s3.endpoint" -}}
{{- if .Values.s3.endpoint -}}
{{- .Values.s3.endpoint -}}
{{- else if .Values.seaweedfs.enabled -}}
{{- printf "http://%s.%s:8333" (include "modelmill.name" (list . "seaweedfs")) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- define "modelmill.mlflow.uri" -}}
{{- if .Values.mlflow.enabled -}}
{{- printf "http://%s.%s:5000" (include "modelmill.name" (list . "mlflow")) .Release.Namespace -}}
{{- else -}}
{{- .Values.mlflow.uri -}}
{{- end -}}
{{- end -}}
