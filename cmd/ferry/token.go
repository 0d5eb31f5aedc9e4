package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// tokenFlags name the token that both halves must have.
type tokenFlags struct {
	Token     string `help:"The bearer token. Others can see it in the process list: prefer --token-file."`
	TokenFile string `placeholder:"FILE" help:"A file that holds the token. A client reads it at each connection."`
}

// read returns the token of the moment; none is not an error.
func (f *tokenFlags) read() (string, error) {
	switch {
	case f.Token != "" && f.TokenFile != "":
		return "", usageError{errors.New("both --token and --token-file are given; one will do")}
	case f.TokenFile == "":
		return f.Token, nil
	}
	b, err := os.ReadFile(f.TokenFile)
	if err != nil {
		return "", fmt.Errorf("can't read the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("the token file %s is empty", f.TokenFile)
	}
	return token, nil
}
