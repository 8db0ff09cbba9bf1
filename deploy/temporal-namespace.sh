#!/bin/sh
# The namespace with a month of history, and the search attributes of workflows/search-attributes.ts.
set -eu
temporal operator namespace describe --namespace p2r >/dev/null 2>&1 || temporal operator namespace create --namespace p2r --retention 720h
until temporal operator search-attribute list --namespace p2r >/dev/null 2>&1; do sleep 1; done
temporal operator search-attribute create --namespace p2r \
  --name P2rExperiment --type Keyword \
  --name P2rIteration --type Int \
  --name P2rPhase --type Keyword \
  --name P2rState --type Keyword || temporal operator search-attribute list --namespace p2r
