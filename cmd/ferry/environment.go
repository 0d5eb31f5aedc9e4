package main

import (
	"net/url"
	"os"
	"strings"
)

// variable is one of the environment's.
type variable struct{ name, value string }

// direct are the hosts that tools reach without ferry: the sandbox itself, and
// the metadata address, where some tools wait long for an answer.
const direct = "localhost,127.0.0.1,::1,169.254.169.254"

// environment returns the variables that lead tools through a proxy. Tools differ
// in which they read, and some read one case only. A NO_PROXY of the user's own
// stays as it is.
func environment(proxy *url.URL) []variable {
	u := proxy.String()
	noProxy := direct
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		if own, set := os.LookupEnv(name); set {
			noProxy = own
		}
	}
	return []variable{
		{"HTTP_PROXY", u}, {"http_proxy", u},
		{"HTTPS_PROXY", u}, {"https_proxy", u},
		{"ALL_PROXY", u}, {"all_proxy", u},
		{"NO_PROXY", noProxy}, {"no_proxy", noProxy},
		// Node reads the others only if it is told to.
		{"NODE_USE_ENV_PROXY", "1"},
		{"CLOUDSDK_PROXY_TYPE", "http"},
		{"CLOUDSDK_PROXY_ADDRESS", proxy.Hostname()},
		{"CLOUDSDK_PROXY_PORT", proxy.Port()},
		{"JAVA_TOOL_OPTIONS", javaOptions(proxy, noProxy)},
	}
}

// javaOptions adds what the JVM wants to what the user has set.
func javaOptions(proxy *url.URL, noProxy string) string {
	var options []string
	// Inside a ferry run there is a ferry already: the innermost counts.
	for _, own := range strings.Fields(os.Getenv("JAVA_TOOL_OPTIONS")) {
		if !strings.HasPrefix(own, "-Dhttp.proxy") && !strings.HasPrefix(own, "-Dhttps.proxy") && !strings.HasPrefix(own, "-Dhttp.nonProxyHosts") {
			options = append(options, own)
		}
	}
	for _, scheme := range []string{"http", "https"} {
		options = append(options,
			"-D"+scheme+".proxyHost="+proxy.Hostname(),
			"-D"+scheme+".proxyPort="+proxy.Port())
	}
	if noProxy != "" {
		options = append(options, "-Dhttp.nonProxyHosts="+strings.ReplaceAll(noProxy, ",", "|"))
	}
	return strings.Join(options, " ")
}
