{{- /* What every object's name begins with: `hearth`, unless nameOverride says otherwise. */ -}}
{{- define "hearth.name" -}}
{{ .Values.nameOverride | default "hearth" }}
{{- end }}
{{- define "hearth.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}
