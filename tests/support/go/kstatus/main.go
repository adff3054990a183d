// Command kstatus reads a JSON array of Kubernetes objects and prints the status that kstatus computes for each.
//
// kstatus is the library by which Flux and others tell whether an object is done: it has no program of its own.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run() error {
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	for _, object := range objects {
		// Numbers come as floats, and kstatus asks for integers.
		text, err := json.Marshal(object)
		if err != nil {
			return err
		}
		found := &unstructured.Unstructured{}
		if err := found.UnmarshalJSON(text); err != nil {
			return err
		}
		result, err := status.Compute(found)
		if err != nil {
			return err
		}
		fmt.Println(result.Status)
	}
	return nil
}
