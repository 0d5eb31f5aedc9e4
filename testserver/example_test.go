package testserver_test

import (
	"fmt"
	"net/http"
	"strings"

	"ferry/testserver"
)

// An endpoint for a test.
func ExampleStart() {
	endpoint, err := testserver.Start(testserver.Config{})
	if err != nil {
		panic(err)
	}
	defer endpoint.Close()

	health := "http" + strings.TrimPrefix(strings.TrimSuffix(endpoint.URL, "/v1/relay"), "ws") + "/healthz"
	answer, err := http.Get(health)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	fmt.Println(answer.StatusCode)
	// Output: 200
}
