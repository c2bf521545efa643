// The threads of a block, which train one run together. A host emulates them (tests/codegen/emulated_block.cpp), so
// that the arithmetic of a kernel can be tested where there is no GPU.
#pragma once

#if defined(__CUDACC__)
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)
#define SHARED __shared__
inline int thread_number() { return threadIdx.x; }
inline int block_number() { return blockIdx.x; }
// Returns when all threads of the block have called it; what they wrote before is then seen by all.
inline void wait_for_all() { __syncthreads(); }
#else
#define KERNEL extern "C" void
#define SHARED static
int thread_number();
int block_number();
void wait_for_all();
#endif
