package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"ferry/client"
	"ferry/testserver"
)

// token is what ferry's client half presents.
const token = "bench"

// warnings tells of what should not happen in a measurement.
func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// ferryClient is ferry's proxy.
func ferryClient(h *halfCommand) (string, error) {
	c, err := client.New(client.Config{URL: "ws://" + h.Server, Token: token, OnCalm: debug.FreeOSMemory, Log: warnings()})
	if err != nil {
		return "", err
	}
	go func() { _ = c.Run(context.Background()) }()
	return c.ProxyURL().Host, nil
}

// ferryServer is ferry's endpoint.
func ferryServer(*halfCommand) (string, error) {
	l, err := listen()
	if err != nil {
		return "", err
	}
	server := testserver.New(testserver.Config{Token: token, AllowPrivate: true, OnCalm: debug.FreeOSMemory, Log: warnings()})
	go func() { _ = server.Serve(l) }()
	return l.Addr().String(), nil
}
