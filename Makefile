.PHONY: build test race lint generate fuzz

# The one binary, in this folder.
build:
	go build -o ferry ./cmd/ferry

test:
	go test ./...

race:
	go test -race ./...

lint:
	go vet ./...
	go tool -modfile=tools/go.mod golangci-lint run
	go tool -modfile=tools/go.mod buf lint

# The Go code of proto/, from the .proto files.
generate:
	go tool -modfile=tools/go.mod buf generate

# Each fuzz target for a minute.
fuzz:
	@for package in wire mux client testserver; do \
	  for target in $$(go test -list '^Fuzz' ./$$package | grep '^Fuzz'); do \
	    echo "== $$package $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime 1m ./$$package || exit 1; \
	  done; done
