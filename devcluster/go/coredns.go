package main

import (
	"flag"
	"os"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/core/dnsserver" // the DNS server type
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

// runCoreDNS serves DNS with the few plugins that cluster DNS needs: the full set more than doubles the modules.
func runCoreDNS() int {
	flags := flag.NewFlagSet("coredns", flag.ExitOnError)
	path := flags.String("conf", "Corefile", "configuration to load")
	flags.Parse(os.Args[1:]) //nolint:errcheck // ExitOnError

	contents, err := os.ReadFile(*path)
	if err != nil {
		return fail("coredns", err)
	}
	caddy.TrapSignals()
	input := caddy.CaddyfileInput{Contents: contents, Filepath: *path, ServerTypeName: "dns"}
	instance, err := caddy.Start(input)
	if err != nil {
		return fail("coredns", err)
	}
	instance.Wait()
	return 0
}
