{{- define "sluice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 54 | trimSuffix "-" }}
{{- end }}

{{/* The release, and the chart's name where the release does not hold it. Room for the longest suffix is left. */}}
{{- define "sluice.fullname" -}}
{{- $name := include "sluice.name" . -}}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $whole .Values.fullnameOverride | trunc 54 | trimSuffix "-" }}
{{- end }}

{{- define "sluice.operator" -}}
{{- printf "%s-operator" (include "sluice.fullname" .) }}
{{- end }}

{{- define "sluice.leaseName" -}}
{{- default (include "sluice.operator" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- define "sluice.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "sluice.operator" .) .Values.serviceAccount.name }}
{{- else -}}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sluice.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest }}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* By these the operator's pods are selected, so they never change. Workers and agents have other components. */}}
{{- define "sluice.selectorLabels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "sluice.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: sluice
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of everything that belongs to the operator. */}}
{{- define "sluice.labels" -}}
{{ include "sluice.selectorLabels" . }}
{{ include "sluice.commonLabels" . }}
{{- end }}

{{/* Of what belongs to the whole and not to the operator: definitions, aggregated roles, the monitor of workers, alerts, the dashboard. */}}
{{- define "sluice.sharedLabels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{ include "sluice.commonLabels" . }}
{{- end }}

{{- define "sluice.crdAnnotations" -}}
{{- $annotations := deepCopy .Values.crds.annotations -}}
{{- if .Values.crds.keep -}}
{{- $annotations = set $annotations "helm.sh/resource-policy" "keep" -}}
{{- end -}}
{{- toYaml $annotations }}
{{- end }}

{{/* The part of a PromQL selector that holds the namespaces of the jobs, when they are known. */}}
{{- define "sluice.jobNamespaces" -}}
{{- with .Values.watchNamespaces -}}
namespace=~"{{ join "|" . }}"
{{- end }}
{{- end }}

{{- define "sluice.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "sluice.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
