{{/* What every pod of the chart says in the same way. */}}

{{- define "modelmill.pod.security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Again for each container: Knative takes no pod's. */}}
{{- define "modelmill.container.security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* (list . values-of-the-component): account, images' secrets, and where the pod may run. */}}
{{- define "modelmill.pod.placement" -}}
{{- $root := first . -}}
serviceAccountName: {{ include "modelmill.account.services" $root | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with (last .).nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (last .).tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The variables with which boto3, pyarrow and MLflow find S3. */}}
{{- define "modelmill.s3.env" -}}
- {name: AWS_DEFAULT_REGION, value: {{ .Values.s3.region | quote }}}
{{- with include "modelmill.s3.endpoint" . }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with include "modelmill.s3.secret" . }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: access_key}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: secret_key}}
{{- end }}
{{- end -}}

{{/* No library writes beside /tmp, or sends reports home. */}}
{{- define "modelmill.quiet.env" -}}
- {name: HOME, value: /tmp}
- {name: DO_NOT_TRACK, value: "true"}
- {name: MLFLOW_DISABLE_TELEMETRY, value: "true"}
{{- end -}}
