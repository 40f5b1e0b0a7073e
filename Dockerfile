# One image for all roles: `hearth controller`, `hearth activator`, `hearth scaler`.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/hearth && /opt/hearth/bin/pip install --no-cache-dir . -c constraints.txt

FROM python:3.13-slim
COPY --from=build /opt/hearth /opt/hearth
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["/opt/hearth/bin/hearth"]
