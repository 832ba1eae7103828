{{- define "eco.labels" -}}
app.kubernetes.io/name: eco-orchestrator
app.kubernetes.io/part-of: eco-orchestrator
app.kubernetes.io/component: {{ . }}
{{- end -}}

{{- define "eco.image" -}}
image: {{ printf "%s:%s" .Values.image.repository .Values.image.tag | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- define "eco.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
