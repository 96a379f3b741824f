{{- define "superserve.name" -}}superserve-operator{{- end -}}

{{- define "superserve.auditName" -}}superserve-audit{{- end -}}

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

{{/* With certificates of cert-manager's, its injector writes the caBundle. */}}
{{- define "superserve.caAnnotations" -}}
{{- if .Values.certManager.enabled }}
annotations: {cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "superserve.name" . }}}
{{- end }}
{{- end -}}

{{- define "superserve.auditSelector" -}}
app.kubernetes.io/name: superserve
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: audit
{{- end -}}

{{- define "superserve.auditLabels" -}}
{{ include "superserve.auditSelector" . }}
app.kubernetes.io/part-of: superserve
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* A size as 8Gi, in bytes. */}}
{{- define "superserve.bytes" -}}
{{- $units := dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $size := toString . -}}
{{- if not (regexMatch "^[1-9][0-9]{0,4}(Mi|Gi|Ti)$" $size) }}{{ fail (printf "audit.retention.size is %s: write a whole number with Mi, Gi or Ti, as 8Gi" $size) }}{{ end -}}
{{- mul (regexFind "^[0-9]+" $size | int64) (get $units (regexFind "[A-Z]i$" $size) | int64) -}}
{{- end -}}

{{/* Whether the audit service's store is on a claim: "true" or empty. Where no cluster can be asked (helm template) it is. */}}
{{- define "superserve.auditClaim" -}}
{{- $persistence := .Values.audit.persistence }}
{{- if not (has (toString $persistence.enabled) (list "true" "false" "auto")) }}
{{- fail (printf "audit.persistence.enabled is %v: write auto, true or false" $persistence.enabled) }}
{{- end }}
{{- if .Values.audit.postgres.secretName }}
{{- else if ne (toString $persistence.enabled) "auto" }}{{ if eq (toString $persistence.enabled) "true" }}true{{ end }}
{{- else if or $persistence.storageClass $persistence.existingClaim (not (lookup "v1" "Namespace" "" "kube-system")) }}true
{{- else if lookup "v1" "PersistentVolumeClaim" .Release.Namespace (include "superserve.auditName" .) }}true
{{- else if .Capabilities.APIVersions.Has "storage.k8s.io/v1/StorageClass" }}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items }}
{{- if eq (dig "metadata" "annotations" "storageclass.kubernetes.io/is-default-class" "" .) "true" }}true{{ break }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
