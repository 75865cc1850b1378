# The service and its command line.
FROM python:3.11-slim-bookworm
WORKDIR /app
COPY requirements.lock requirements-demo.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
 && pip install --no-cache-dir --no-deps --no-build-isolation --require-hashes -r requirements-demo.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY service service
COPY sql sql
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
 && useradd --uid 10001 --no-create-home pgtally && mkdir /state && chown pgtally /state
# By number, so that a host that knows no names sees that it is not root.
USER 10001
ENV PGTALLY_HOME=/state PGTALLY_HOST=0.0.0.0
VOLUME /state
EXPOSE 8000
CMD ["pgtally", "run"]
