# One image for all roles: `hearth controller`, `hearth activator`, `hearth scaler`. `make image` builds it, with docker, podman or
# buildah, for amd64 and arm64 alike: no step names an architecture, and every pinned dependency has wheels for both.
#
# The base is named by Python's and Debian's release, so that a rebuild has their security updates. Releases are built from what
# the tag means that day: `docker buildx imagetools inspect python:3.13-slim-trixie` says the digest; .github/dependabot.yml asks
# for a newer tag when there is one.
FROM python:3.13-slim-trixie AS dependencies
# Before everything that changes. The compilers stay in this stage and the next.
RUN command -v gcc >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev)
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# The environment has no pip of its own: the base's installs into it.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *project['optional-dependencies']['otel'], sep='\n')" > requirements.txt \
 && python -m venv --without-pip /opt/hearth \
 && python -m pip --python /opt/hearth/bin/python install --no-cache-dir -r requirements.txt -c constraints.txt
# What is installed, with versions and licences, as CycloneDX: a file of the image, and what a release publishes beside it.
RUN python -m pip install --no-cache-dir --target /bom 'cyclonedx-bom>=7.5,<8' \
 && PYTHONPATH=/bom python -m cyclonedx_py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
      --output-format JSON --output-file /opt/hearth/sbom.cdx.json /opt/hearth/bin/python
RUN python -m pip --python /opt/hearth/bin/python install --no-cache-dir --target /tools hatchling mypy setuptools -c constraints.txt

FROM dependencies AS build
COPY . .
RUN PYTHONPATH=/tools python -m pip --python /opt/hearth/bin/python install --no-cache-dir --no-deps --no-build-isolation --root /app .
# What runs in front of every token is compiled (tools/compile.py), by the Python that runs it, so that mypy sees the types of
# what is installed there.
RUN PYTHONPATH=/tools:/src /opt/hearth/bin/python -m tools.compile /app"$(/opt/hearth/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

FROM python:3.13-slim-trixie
# Nothing is installed into a running container.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip \
 && rm -r "$(python -c 'import ensurepip; print(*ensurepip.__path__)')"
# Two layers: a new version of Hearth with the same dependencies is the small one.
COPY --from=dependencies /opt/hearth /opt/hearth
COPY --from=build /app /
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["/opt/hearth/bin/hearth"]
