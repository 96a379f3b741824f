{{- define "superserve.name" -}}superserve-operator{{- end -}}

{{- define "superserve.selector" -}}
app.kubernetes.io/name: superserve
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "superserve.labels" -}}
{{ include "superserve.selector" . }}
app.kubernetes.io/part-of: superserve
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "superserve.readCoreSecrets" -}}
apiGroups: [""]
resources: [secrets]
verbs: [get, list, watch]
{{- end -}}

{{/* Where the API server finds a webhook's path. No caBundle: the operator writes it, with a field manager of its own. */}}
{{- define "superserve.clientConfig" -}}
{{- if .root.Values.webhook.url -}}
url: {{ printf "%s%s" (trimSuffix "/" .root.Values.webhook.url) .path }}
{{- else -}}
service: {name: {{ include "superserve.name" .root }}, namespace: {{ .root.Release.Namespace }}, path: {{ .path }}, port: 443}
{{- end -}}
{{- end -}}

{{/* Never the pods of the cluster's own namespace and of the operator's: its own could not start without it. */}}
{{- define "superserve.notOurs" -}}
- {key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system, {{ .Release.Namespace }}]}
{{- end -}}
