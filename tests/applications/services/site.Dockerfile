# syntax=docker/dockerfile:1
# escape=\
# Needs --build-context assets=DIRECTORY and, for the settings, --build-context api=IMAGE.
ARG BASE=debian:bookworm

FROM ${BASE} AS pages
WORKDIR /pages
COPY site/*.txt ./
COPY <<head.html <<"foot.html" ./
<!doctype html><title>${NAME:-Shop}</title>
head.html
<p>written for $nobody</p>
foot.html
RUN --mount=type=bind,from=assets,target=/assets <<EOF
set -eu
for page in *.txt; do
	{ cat head.html; cat "$page" /assets/*.svg; cat foot.html; } > "${page%.txt}.html"
done
rm ./*.txt head.html foot.html
EOF
COPY --from=assets --chmod=644 logo.svg .
RUN <<-"EOF" cat > list
	$ is a sign
	EOF

FROM scratch
COPY --from=pages --link /pages/ /srv/www/
COPY --from=api /opt/shop/lib/settings.sh /srv/settings
COPY --chown=5:6 --chmod=0400 <<robots.txt /srv/www/robots.txt
User-agent: *
Disallow:
robots.txt
