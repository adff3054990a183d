package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity of every certificate: longer than any development cluster lives.
const validity = 365 * 24 * time.Hour

// clockSkew lets a certificate be used at once by a container whose clock is a little behind.
const clockSkew = 5 * time.Minute

// request is one certificate to issue: its file name without extension, its subject, and, for a server, the names
// and addresses it answers to.
type request struct {
	Name          string   `json:"name"`
	CommonName    string   `json:"common_name"`
	Organizations []string `json:"organizations"`
	Hosts         []string `json:"hosts"`
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// runPKI makes the certificate authority of one cluster and issues the certificates asked for on standard input (a
// JSON list of requests) as NAME.crt and NAME.key. The authority's key never touches the disk: nothing else can
// be issued later, and nothing has to be guarded.
func runPKI() int {
	flags := flag.NewFlagSet("pki", flag.ExitOnError)
	dir := flags.String("dir", "", "folder for the certificates")
	flags.Parse(os.Args[1:]) //nolint:errcheck // ExitOnError

	var requests []request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		return fail("pki", fmt.Errorf("the list of requests: %w", err))
	}
	if err := issueAll(*dir, requests); err != nil {
		return fail("pki", err)
	}
	return 0
}

func issueAll(dir string, requests []request) error {
	if err := writeServiceAccountKey(dir); err != nil {
		return err
	}
	ca, err := newAuthority(dir)
	if err != nil {
		return err
	}
	for _, wanted := range requests {
		if err := ca.issue(dir, wanted); err != nil {
			return fmt.Errorf("certificate %s: %w", wanted.Name, err)
		}
	}
	return nil
}

// writeServiceAccountKey makes the key that signs service account tokens: sa.key and sa.pub.
func writeServiceAccountKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := writePEM(dir, "sa.pub", "PUBLIC KEY", public); err != nil {
		return err
	}
	return writeKey(dir, "sa.key", key)
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(pkix.Name{CommonName: "devcluster"})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate, key}, writePEM(dir, "ca.crt", "CERTIFICATE", der)
}

func (ca *authority) issue(dir string, wanted request) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := newTemplate(pkix.Name{CommonName: wanted.CommonName, Organization: wanted.Organizations})
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(wanted.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range wanted.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, &key.PublicKey, ca.key)
	if err != nil {
		return err
	}
	if err := writePEM(dir, wanted.Name+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(dir, wanted.Name+".key", key)
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(validity),
	}, nil
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(dir, name, "EC PRIVATE KEY", der)
}

func writePEM(dir, name, kind string, der []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return os.WriteFile(filepath.Join(dir, name), block, 0o600)
}
