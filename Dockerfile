# One image for all roles: `hearth controller`, `hearth activator`, `hearth scaler`.
FROM python:3.13-slim AS build
WORKDIR /src
# The dependencies are a layer of their own: a changed source does not install them again.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *project['optional-dependencies']['otel'], sep='\n')" > requirements.txt \
 && python -m venv /opt/hearth \
 && /opt/hearth/bin/pip install --no-cache-dir -r requirements.txt -c constraints.txt
COPY . .
RUN /opt/hearth/bin/pip install --no-cache-dir --no-deps .
# What runs in front of every token is compiled (tools/compile.py); the compilers stay in this stage.
RUN command -v gcc >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev)
# By the Python that runs it, so that mypy sees the types of what is installed there.
RUN /opt/hearth/bin/pip install --no-cache-dir --target /src/.build mypy setuptools -c constraints.txt \
 && PYTHONPATH=/src/.build:/src /opt/hearth/bin/python -m tools.compile "$(/opt/hearth/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

FROM python:3.13-slim
COPY --from=build /opt/hearth /opt/hearth
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["/opt/hearth/bin/hearth"]
