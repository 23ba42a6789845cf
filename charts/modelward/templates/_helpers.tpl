{{- define "modelward.labels" -}}
app.kubernetes.io/name: modelward
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: modelward
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "modelward.selector" -}}
app.kubernetes.io/name: modelward
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "modelward.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* The namespaces that models live in, as a JSON list. */ -}}
{{- define "modelward.namespaces" -}}
{{- concat (list .Release.Namespace) .Values.watch.namespaces | uniq | toJson -}}
{{- end }}

{{- /* The account of serving or training pods. Where the namespaces are not known it must be one that is everywhere: the pods
mount no token of it in any case. */ -}}
{{- define "modelward.account" -}}
{{- if and .root.Values.watch.allNamespaces (not .root.Values.serviceAccounts.annotations) -}}
default
{{- else -}}
modelward-{{ .name }}
{{- end -}}
{{- end }}

{{- define "modelward.claim" -}}
{{- if and (not .Values.store.uri) .Values.store.persistence.enabled -}}
{{ .Values.store.persistence.existingClaim | default "modelward-store" }}
{{- end -}}
{{- end }}

{{- define "modelward.store" -}}
{{ .Values.store.uri | default "file:///var/lib/modelward/store" }}
{{- end }}

{{- define "modelward.rules" -}}
- apiGroups: [modelward.io]
  resources: [modelversions]
  verbs: [get, list, watch, create, patch]
- apiGroups: [modelward.io]
  resources: [trainingjobs, driftmonitors, scorebatches]
  verbs: [get, list, watch]
- apiGroups: [modelward.io]
  resources: [modelversions/status, trainingjobs/status, driftmonitors/status, scorebatches/status]
  verbs: [update, patch]
- apiGroups: [modelward.io]
  # Owner references that block deletion ask for it.
  resources: [trainingjobs/finalizers, scorebatches/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  # The second memory of digests that were rolled back.
  resources: [controllerrevisions]
  verbs: [list, create, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  # The reason that a Job gets no pods, such as a quota, is in an Event alone.
  resources: [events]
  verbs: [create, list]
{{- end }}

{{- /* What the operator knows of how pods run. The kubelet would replace $(NAME). */ -}}
{{- define "modelward.pods" -}}
{{- $values := .Values -}}
{{- dict "podDefaults" $values.podDefaults "serving" $values.serving "training" $values.training "batch" $values.batch | toJson | replace "$(" "$$(" -}}
{{- end }}

{{- /* The part of a PodSpec that the settings of pods say, for pods of the chart's own. */ -}}
{{- define "modelward.placement" -}}
{{- $found := dict -}}
{{- range $name := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" -}}
{{- with get $ $name }}{{ $_ := set $found $name . }}{{ end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end }}

{{- define "modelward.podSecurity" -}}
{{- merge (dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault")) (.securityContext | default dict) | toYaml -}}
{{- end }}
