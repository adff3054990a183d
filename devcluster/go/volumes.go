package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// nodeFolder is where a node keeps its volumes, as the node sees it.
const nodeFolder = "/var/lib/volumes"

// localProvisioner makes a folder a volume. All nodes of a development cluster are this machine, so that a folder
// can be made right here, with no helper pod and no image for one.
type localProvisioner struct {
	nodes string // the folder that holds a folder NODE/var, which NODE sees as its /var
}

// Provision makes the folder of a claim and describes it as a volume of the node that the scheduler picked.
//
// The volume is of the type local, not hostPath: the kubelet then applies a pod's fsGroup to it, as it does with a
// disk of a cloud.
func (p *localProvisioner) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	if options.SelectedNodeName == "" {
		err := errors.New("the storage class must bind its volumes when the first consumer is scheduled")
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.MkdirAll(p.folder(options.SelectedNodeName, options.PVName), 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return newVolume(options), controller.ProvisioningFinished, nil
}

// Delete removes the folder of a volume that was released.
func (p *localProvisioner) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	node := volume.Annotations[nodeAnnotation]
	if node == "" {
		return fmt.Errorf("volume %s has no annotation %s", volume.Name, nodeAnnotation)
	}
	return os.RemoveAll(p.folder(node, volume.Name))
}

// nodeAnnotation names the node that has a volume's folder.
const nodeAnnotation = "devcluster.local/node"

func (p *localProvisioner) folder(node, volume string) string {
	return filepath.Join(p.nodes, node, nodeFolder, volume)
}

func newVolume(options controller.ProvisionOptions) *v1.PersistentVolume {
	node := options.SelectedNodeName
	onNode := v1.NodeSelectorRequirement{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node}}
	terms := []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{onNode}}}
	path := filepath.Join(nodeFolder, options.PVName)
	claim := options.PVC.Spec
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName, Annotations: map[string]string{nodeAnnotation: node}},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   claim.AccessModes,
			VolumeMode:                    claim.VolumeMode,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: claim.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: path}},
			NodeAffinity:                  &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: terms}},
		},
	}
}

// runVolumeProvisioner answers the claims made to one provisioner name, and lets them grow.
func runVolumeProvisioner() int {
	flags := flag.NewFlagSet("volume-provisioner", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the provisioner")
	name := flags.String("name", "", "provisioner name of the storage class")
	nodes := flags.String("nodes", "", "folder of the nodes")
	flags.Parse(os.Args[1:]) //nolint:errcheck // ExitOnError

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fail("volume-provisioner", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fail("volume-provisioner", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := startGrower(ctx, client, *name); err != nil {
		return fail("volume-provisioner", err)
	}
	provisioner := &localProvisioner{nodes: *nodes}
	controller.NewProvisionController(ctx, client, *name, provisioner, controller.LeaderElection(false)).Run(ctx)
	return 0
}
