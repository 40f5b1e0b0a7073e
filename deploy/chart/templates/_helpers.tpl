{{- /* What every object's name begins with: `hearth`, unless an override says otherwise. */ -}}
{{- define "hearth.name" -}}
{{ .Values.fullnameOverride | default .Values.nameOverride | default "hearth" }}
{{- end }}
{{- define "hearth.image" -}}
{{- with .Values.image.registry | default (dig "imageRegistry" "" (.Values.global | default dict)) -}}
{{ . }}/
{{- end -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}
{{- /* The release's pull secrets and those of all charts, whose items are names or {name: …}. */ -}}
{{- define "hearth.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.imagePullSecrets (dig "imagePullSecrets" list (.Values.global | default dict)) -}}
{{- if kindIs "string" . -}}
{{- $secrets = append $secrets (dict "name" .) -}}
{{- else -}}
{{- $secrets = append $secrets . -}}
{{- end -}}
{{- end -}}
{{ $secrets | uniq | toJson }}
{{- end }}
