/** Prints the most memory that the process takes, in bytes, while it makes and drops 1.6 GiB of shared memory. */
import * as SharedMemory from "../../../src/hash/provider/node/SharedMemory.ts"

let most = 0
for (let count = 0; count < 100; count++) {
  SharedMemory.memory.make(16 << 20).fill(1)
  // What is not used any more is collected between two turns of the event loop.
  await new Promise((resolve) => setTimeout(resolve, 1))
  most = Math.max(most, process.memoryUsage.rss())
}
console.log(most)
