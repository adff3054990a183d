{{/* Name of the chart, as the objects' label says it. */}}
{{- define "assistant-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
Name of the objects: the release's, with the chart's where the release's does not hold it already. It is cut so that
the longest name made from it, that of the metrics Service, still is a name: 63 characters.
*/}}
{{- define "assistant-operator.fullname" -}}
{{- $name := include "assistant-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels that pick the operator's pods: they can't change on an upgrade. */}}
{{- define "assistant-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "assistant-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "assistant-operator.labels" -}}
{{ include "assistant-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: ai-assistant-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "assistant-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "assistant-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Reference of the operator's image. */}}
{{- define "assistant-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* The default images as JSON; those of this project are beside the operator's unless they are given. */}}
{{- define "assistant-operator.images" -}}
{{- $images := deepCopy .Values.defaultImages }}
{{- range $name := list "runtime" "ui" }}
{{- $sibling := regexReplaceAll "[^/]*$" $.Values.image.repository (printf "assistant-%s" $name) }}
{{- $reference := printf "%s:%s" $sibling (default $.Chart.AppVersion $.Values.image.tag) }}
{{- $_ := set $images $name (default $reference (get $images $name)) }}
{{- end }}
{{- $images | toJson }}
{{- end }}

{{/* The rights of the operator, as `assistant-operator rbac` derived them from what it renders. */}}
{{- define "assistant-operator.rules" -}}
rules:
{{ .Files.Get "files/rules.yaml" | fromYamlArray | toYaml }}
{{- if .Values.rbac.deleteKept }}
- apiGroups:
  - ""
  resources:
  - persistentvolumeclaims
  - secrets
  verbs:
  - delete
{{- end }}
{{- end }}

{{/* Refuse what the operator would refuse, and what no operator can see: that it is not alone. */}}
{{- define "assistant-operator.checkLeaderElection" -}}
{{- $election := .Values.leaderElection }}
{{- if not $election.enabled }}
{{- if gt (int .Values.replicas) 1 }}
{{- fail "replicas: only one pod may run without leader election; set leaderElection.enabled=true or replicas=1" }}
{{- end }}
{{- else if gt (int $election.renewDeadlineSeconds) (sub (int $election.leaseDurationSeconds) 2 | int) }}
{{- fail "leaderElection.renewDeadlineSeconds: must be at least 2 less than leaderElection.leaseDurationSeconds" }}
{{- else if gt (mul 2 (int $election.retryPeriodSeconds) | int) (int $election.renewDeadlineSeconds) }}
{{- fail "leaderElection.retryPeriodSeconds: must be at most half of leaderElection.renewDeadlineSeconds" }}
{{- end }}
{{- end }}
