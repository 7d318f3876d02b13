/**
 * Digests something on the thread, which is all that keeps the process alive. Then asks again, and stops the thread
 * when its answer has come and nobody has looked at it. Prints `hashed` and `stopped`.
 */
import * as Effect from "effect/Effect"
import * as SharedMemory from "../../../src/hash/provider/node/SharedMemory.ts"
import * as SideThread from "../../../src/hash/provider/node/SideThread.ts"

const thread = SideThread.start()
thread.worker.ref()
while (!thread.isReady) await new Promise((resolve) => setTimeout(resolve, 1))
thread.worker.unref()

await Effect.runPromise(SideThread.digest(thread, "sha1", SharedMemory.memory.make(16 << 20)))
console.log("hashed")

const asking = Effect.runFork(SideThread.digest(thread, "sha1", SharedMemory.memory.make(1 << 10)))
for (const end = performance.now() + 200; performance.now() < end; );
asking.interruptUnsafe()
await Effect.runPromise(SideThread.stop(thread))
console.log("stopped")
