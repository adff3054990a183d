package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd serves a single etcd member that never calls fsync: a development cluster is thrown away, not recovered,
// and the disk of a shared machine would otherwise set the pace of every write.
func runEtcd() int {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	dataDir := flags.String("data-dir", "", "folder of the data")
	client := flags.String("listen-client-url", "", "URL that clients use")
	peer := flags.String("listen-peer-url", "", "URL for the member itself")
	flags.Parse(os.Args[1:]) //nolint:errcheck // ExitOnError

	config, err := etcdConfig(*dataDir, *client, *peer)
	if err != nil {
		return fail("etcd", err)
	}
	return serveEtcd(config)
}

func etcdConfig(dataDir, client, peer string) (*embed.Config, error) {
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, fmt.Errorf("--listen-client-url: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, fmt.Errorf("--listen-peer-url: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = dataDir
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	// Left at zero, as only the flags of etcd's own command set it, every request would be logged as slow.
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// One member elects itself: the first election need not wait a second for others to speak up.
	config.TickMs, config.ElectionMs = 10, 100
	return config, nil
}

func serveEtcd(config *embed.Config) int {
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fail("etcd", err)
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stop:
		return 0
	case err := <-server.Err():
		return fail("etcd", err)
	}
}
