package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type envCommand struct {
	Format string `enum:"sh,json,dotenv" default:"sh" help:"How to print them: sh, json or dotenv. (${default})"`
	State  string `placeholder:"FILE" help:"Where ferry client noted its URL."`
}

// Run prints the variables for the running client.
func (e *envCommand) Run() error {
	note := state{path: e.State}
	proxy, err := note.read()
	if err != nil {
		return err
	}
	variables := environment(proxy)
	if e.Format == "json" {
		return printJSON(variables)
	}
	for _, v := range variables {
		if e.Format == "sh" {
			fmt.Printf("export %s='%s'\n", v.name, strings.ReplaceAll(v.value, "'", `'\''`))
		} else {
			fmt.Printf("%s=%q\n", v.name, v.value)
		}
	}
	return nil
}

func printJSON(variables []variable) error {
	object := make(map[string]string, len(variables))
	for _, v := range variables {
		object[v.name] = v.value
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(object)
}
