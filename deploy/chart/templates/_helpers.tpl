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
{{- /* What the role in .role has mounted: its certificates, and the volumes that its values name. */ -}}
{{- define "hearth.volumes" -}}
{{- $volumes := (get .root.Values .role).extraVolumes | default list -}}
{{- if and (ne .root.Values.tls.mode "off") (ne .role "controller") -}}
{{- $name := printf "%s-%s-tls" (include "hearth.name" .root) .role -}}
{{- $volumes = append $volumes (dict "name" "tls" "secret" (dict "secretName" $name)) -}}
{{- end -}}
{{- if eq .role "activator" -}}
{{- with .root.Values.activator.tlsSecretName -}}
{{- $volumes = append $volumes (dict "name" "clients-tls" "secret" (dict "secretName" .)) -}}
{{- end -}}
{{- end -}}
{{ $volumes | toJson }}
{{- end }}
{{- define "hearth.mounts" -}}
{{- $mounts := (get .root.Values .role).extraVolumeMounts | default list -}}
{{- if and (ne .root.Values.tls.mode "off") (ne .role "controller") -}}
{{- $mounts = append $mounts (dict "name" "tls" "mountPath" "/etc/hearth/tls" "readOnly" true) -}}
{{- end -}}
{{- if and (eq .role "activator") .root.Values.activator.tlsSecretName -}}
{{- $mounts = append $mounts (dict "name" "clients-tls" "mountPath" "/etc/hearth/clients-tls" "readOnly" true) -}}
{{- end -}}
{{ $mounts | toJson }}
{{- end }}
