"""Writing jobs in MongoDB: one document a job, leased and replaced by single atomic updates.

Leases are timed by the server's own clock, so that replicas whose clocks differ agree on when one is over.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection

from assistant_runtime.stores.mongodb import MongoConnection
from assistant_runtime.writers.job import ENDED, Job

COLLECTION = "writing_jobs"


class MongoJobs:
    """Jobs that every replica sees.

    Parameters
    ----------
    connection
        The server; asked for the indexes when it first answers.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        connection.before_use(self._prepare)

    @property
    def _jobs(self) -> AsyncCollection[dict[str, Any]]:
        return self._connection.collection(COLLECTION)

    async def _prepare(self) -> None:
        await self._jobs.create_index([("tenant", ASCENDING), ("job.created", DESCENDING), ("_id", DESCENDING)])
        await self._jobs.create_index([("waits", ASCENDING), ("job.created", ASCENDING)])
        await self._jobs.create_index([("waits", ASCENDING), ("job.updated", ASCENDING)])

    async def create(self, job: Job) -> None:
        """Keep a new job."""
        await self._connection.call(lambda: self._jobs.insert_one({"_id": job.id, "owner": "", **_fields(job)}))

    async def get(self, tenant: str, job_id: str) -> Job | None:
        """Give a tenant's job."""
        return _job(await self._connection.call(lambda: self._jobs.find_one({"_id": job_id, "tenant": tenant})))

    async def list(self, tenant: str, limit: int, after: str = "") -> list[Job]:
        """List a tenant's jobs, the newest first, behind the job `after` if that is there."""
        last = await self.get(tenant, after) if after else None
        older: dict[str, Any] = {"tenant": tenant}
        if last is not None:
            created = last.created
            older["$or"] = [{"job.created": {"$lt": created}}, {"job.created": created, "_id": {"$lt": last.id}}]
        cursor = self._jobs.find(older).sort([("job.created", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        found = await self._connection.call(lambda: cursor.to_list(limit))
        return [job for each in found if (job := _job(each))]

    async def replace(self, job: Job, owner: str | None = None) -> bool:
        """Keep a job in place of its version before."""
        wanted = {"_id": job.id, "job.version": job.version - 1} | ({} if owner is None else {"owner": owner})
        done = await self._connection.call(lambda: self._jobs.update_one(wanted, {"$set": _fields(job)}))
        return done.matched_count == 1

    async def delete(self, tenant: str, job_id: str) -> bool:
        """Delete a job."""
        done = await self._connection.call(lambda: self._jobs.delete_one({"_id": job_id, "tenant": tenant}))
        return done.deleted_count == 1

    async def expire(self, age: float, limit: int) -> int:
        """Delete jobs that ended `age` seconds ago."""
        ended = {"waits": False, "job.updated": {"$lt": (await self._now()).timestamp() - age}}

        async def remove() -> int:
            found = self._jobs.find(ended, {"_id": 1}, sort=[("job.updated", ASCENDING)], limit=limit)
            due = [each["_id"] async for each in found]
            return (await self._jobs.delete_many({"_id": {"$in": due}, **ended})).deleted_count if due else 0

        return await self._connection.aside(remove)

    async def claim(self, owner: str, seconds: float) -> Job | None:
        """Lease the oldest job that waits, or whose lease is over."""
        now = await self._now()
        free = {"waits": True, "$or": [{"until": None}, {"until": {"$lte": now}}]}
        taken = {
            "$set": {"owner": owner, "until": now + timedelta(seconds=seconds), "job.status": "running"},
            "$inc": {"job.version": 1, "job.attempts": 1},
        }
        found = await self._connection.call(
            lambda: self._jobs.find_one_and_update(
                free, taken, sort=[("job.created", ASCENDING)], return_document=ReturnDocument.AFTER
            )
        )
        return _job(found)

    async def renew(self, job_id: str, owner: str, seconds: float) -> bool:
        """Lease a job on."""
        update = {"$set": {"until": await self._now() + timedelta(seconds=seconds)}}
        done = await self._connection.call(lambda: self._jobs.update_one({"_id": job_id, "owner": owner}, update))
        return done.matched_count == 1

    async def _now(self) -> datetime:
        """Return the time on the server's clock, which all replicas share."""
        told = await self._connection.call(lambda: self._connection.client.admin.command("hello"))
        now: datetime = told["localTime"]
        return now


def _fields(job: Job) -> dict[str, Any]:
    """Return a job as it is kept, beside what it is found by."""
    payer = job.payer.model_dump() if job.payer else None
    return {"tenant": job.tenant, "waits": job.status not in ENDED, "payer": payer, "job": job.model_dump(mode="json")}


def _job(document: Mapping[str, Any] | None) -> Job | None:
    return Job.model_validate({**document["job"], "payer": document.get("payer")}) if document else None
