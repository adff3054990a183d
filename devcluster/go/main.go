// Command devcluster-node is every Kubernetes program of a development cluster in one binary.
//
// The programs share nearly all of their dependencies, so one binary is linked and compiled once instead of ten
// times: that is most of the build time and of the disk space. The program to be is chosen by the name under
// which the binary is called, as hyperkube did, or by its first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// programs maps the name of a program to its entry point, which finds its arguments in os.Args and returns the
// exit code.
var programs = map[string]func() int{
	"coredns":                 runCoreDNS,
	"etcd":                    runEtcd,
	"kube-apiserver":          runAPIServer,
	"kube-controller-manager": runControllerManager,
	"kube-proxy":              runProxy,
	"kube-scheduler":          runScheduler,
	"kubectl":                 runKubectl,
	"kubelet":                 runKubelet,
	"pki":                     runPKI,
	"volume-provisioner":      runVolumeProvisioner,
}

func main() {
	if run, ok := programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	if len(os.Args) > 1 {
		if run, ok := programs[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			os.Exit(run())
		}
	}
	fmt.Fprintf(os.Stderr, "usage: %s PROGRAM [ARGUMENT...]\nprograms: %s\n", os.Args[0], programNames())
	os.Exit(2)
}

func programNames() string {
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// fail reports err in the name of a program and returns the exit code for it.
func fail(program string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	return 1
}
