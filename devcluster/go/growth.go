package main

import (
	"context"
	"encoding/json"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// provisionedBy is the annotation in which the provisioner's library names the provisioner of a volume.
const provisionedBy = "pv.kubernetes.io/provisioned-by"

// grower gives claims the size that they ask for, as the external-resizer does for the drivers of a cloud: first the
// volume is larger, then the claim says so. A folder has no size, so that nothing else is to be done.
//
// The external-resizer itself would bring another version of Kubernetes' libraries, and feature gates that the other
// programs of this binary have already.
type grower struct {
	client      kubernetes.Interface
	provisioner string
	claims      corelisters.PersistentVolumeClaimLister
	queue       workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

// startGrower grows the volumes of a provisioner until the context ends.
func startGrower(ctx context.Context, client kubernetes.Interface, provisioner string) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().PersistentVolumeClaims()
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](100*time.Millisecond, 10*time.Second),
	)
	g := &grower{client: client, provisioner: provisioner, claims: informer.Lister(), queue: queue}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    g.look,
		UpdateFunc: func(_, claim any) { g.look(claim) },
	}); err != nil {
		return err
	}
	context.AfterFunc(ctx, queue.ShutDown)
	factory.Start(ctx.Done())
	go g.work(ctx)
	return nil
}

// look queues a claim that asks for more than it has.
func (g *grower) look(object any) {
	if claim := object.(*v1.PersistentVolumeClaim); wantsMore(claim) {
		g.queue.Add(cache.MetaObjectToName(claim))
	}
}

func (g *grower) work(ctx context.Context) {
	for {
		name, done := g.queue.Get()
		if done {
			return
		}
		if err := g.grow(ctx, name); err != nil {
			klog.ErrorS(err, "A claim can't grow yet", "claim", name)
			g.queue.AddRateLimited(name)
		} else {
			g.queue.Forget(name)
		}
		g.queue.Done(name)
	}
}

// grow makes a volume and then its claim as large as the claim asks.
func (g *grower) grow(ctx context.Context, name cache.ObjectName) error {
	claim, err := g.claims.PersistentVolumeClaims(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !wantsMore(claim) {
		return err
	}
	volumes, claims := g.client.CoreV1().PersistentVolumes(), g.client.CoreV1().PersistentVolumeClaims(name.Namespace)
	volume, err := volumes.Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil || volume.Annotations[provisionedBy] != g.provisioner {
		return err
	}
	size := claim.Spec.Resources.Requests[v1.ResourceStorage]
	if has := volume.Spec.Capacity[v1.ResourceStorage]; size.Cmp(has) > 0 {
		patch := withCapacity("spec", size)
		if _, err := volumes.Patch(ctx, volume.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	patch := withCapacity("status", size)
	_, err = claims.Patch(ctx, name.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// wantsMore tells whether a claim that has a volume asks for more than it has.
func wantsMore(claim *v1.PersistentVolumeClaim) bool {
	asked, has := claim.Spec.Resources.Requests[v1.ResourceStorage], claim.Status.Capacity[v1.ResourceStorage]
	return claim.Status.Phase == v1.ClaimBound && asked.Cmp(has) > 0
}

// withCapacity is a merge patch of the capacity, which a volume has in its spec and a claim in its status.
func withCapacity(part string, size resource.Quantity) []byte {
	capacity := v1.ResourceList{v1.ResourceStorage: size}
	patch, err := json.Marshal(map[string]any{part: map[string]any{"capacity": capacity}})
	if err != nil {
		panic(err) // a quantity always has a JSON form
	}
	return patch
}
