# The service and its command line.
FROM python:3.11-slim-bookworm
WORKDIR /app
COPY requirements.lock requirements-demo.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
 && pip install --no-cache-dir --no-deps --no-build-isolation --require-hashes -r requirements-demo.lock
COPY pyproject.toml README.md ./
COPY service service
COPY sql sql
COPY migrations migrations
COPY bench bench
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && useradd --system pgtally && mkdir /state && chown pgtally /state
USER pgtally
ENV PGTALLY_HOME=/state PGTALLY_HOST=0.0.0.0
VOLUME /state
EXPOSE 8000
CMD ["pgtally", "run"]
