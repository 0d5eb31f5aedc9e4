package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"ferry/client"
	"ferry/testserver"
)

// A program that goes through the tunnel itself.
func ExampleClient_DialContext() {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello from the target")
	}))
	defer web.Close()
	endpoint, err := testserver.Start(testserver.Config{AllowPrivate: true})
	if err != nil {
		panic(err)
	}
	defer endpoint.Close()

	c, err := client.New(client.Config{URL: endpoint.URL, Token: endpoint.Token})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	go func() { _ = c.Run(context.Background()) }()

	transport := &http.Transport{DialContext: c.DialContext}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get(web.URL)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(string(text))
	// Output: hello from the target
}
