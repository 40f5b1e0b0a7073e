# One image for all roles: `hearth controller`, `hearth activator`, `hearth scaler`. `make image` builds it, with docker, podman or
# buildah, for amd64 and arm64 alike: no step names an architecture, and every pinned dependency has wheels for both.
#
# The base is named by Python's and Debian's release, so that a rebuild has their security updates. Releases are built from what
# the tag means that day: `docker buildx imagetools inspect python:3.13-slim-trixie` says the digest; .github/dependabot.yml asks
# for a newer tag when there is one.
FROM python:3.13-slim-trixie AS dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive
# Before everything that changes. The compilers stay in this stage and the next.
RUN command -v gcc >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev)
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# The environment has no pip of its own: the base's installs into it. Nobody runs the packages' tests, nor reads their stubs, C and
# debugging symbols. Byte code is made: the image's root can't be written to, and roles start faster with it. It says which source it
# is of by a hash, not by the time of the build, so that the same input makes the same image (SECURITY.md).
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *project['optional-dependencies']['otel'], sep='\n')" > requirements.txt \
 && python -m venv --without-pip /opt/hearth \
 && python -m pip --python /opt/hearth/bin/python install --no-compile -r requirements.txt -c constraints.txt \
 && cd /opt/hearth/lib/python3*/site-packages \
 && find . -type d -name tests -prune -exec rm -r {} + \
 && find . -name '*.py[ix]' -delete -o -name '*.pxd' -delete -o -name '*.[ch]' -delete \
 && find . -name '*.so*' -exec strip --strip-debug {} + \
 && PYTHONHASHSEED=0 /opt/hearth/bin/python -m compileall -q --invalidation-mode unchecked-hash .
# What is installed, with versions and licences, as CycloneDX: a file of the image, and what a release publishes beside it.
RUN python -m venv --without-pip /bom \
 && python -m pip --python /bom/bin/python install 'cyclonedx-bom>=7.5,<8' \
 && /bom/bin/python -m cyclonedx_py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
      --output-format JSON --output-file /opt/hearth/sbom.cdx.json /opt/hearth/bin/python
RUN python -m pip --python /opt/hearth/bin/python install --target /tools hatchling mypy setuptools -c constraints.txt

FROM dependencies AS build
COPY . .
RUN PYTHONPATH=/tools python -m pip --python /opt/hearth/bin/python install --no-compile --no-deps --no-build-isolation --no-warn-script-location --root /app . \
 && PYTHONHASHSEED=0 /opt/hearth/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /app -p / /app
# What runs in front of every token is compiled (tools/compile.py), by the Python that runs it, so that mypy sees the types of
# what is installed there. The cache is the builder's and no part of the image: without it this takes a minute or two.
RUN --mount=type=cache,target=/compiled PYTHONPATH=/tools:/src /opt/hearth/bin/python -m tools.compile \
      /app"$(/opt/hearth/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" /compiled

FROM python:3.13-slim-trixie
# Nothing is installed into a running container.
RUN export PYTHONDONTWRITEBYTECODE=1 \
 && python -m pip uninstall --quiet --yes --root-user-action=ignore pip \
 && rm -r "$(python -c 'import ensurepip; print(*ensurepip.__path__)')"
# Two layers: a new version of Hearth with the same dependencies is the small one.
COPY --from=dependencies /opt/hearth /opt/hearth
COPY --from=build /app /
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["/opt/hearth/bin/hearth"]
