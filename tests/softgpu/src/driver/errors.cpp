#include "errors.hpp"

#include <cstdarg>
#include <cstdio>
#include <vector>

#include "driver.hpp"

namespace softgpu {

namespace {

struct Entry {
    Error error;
    const char *driver, *runtime, *words;
};

const Entry table[] = {
    {Error::success, "CUDA_SUCCESS", "cudaSuccess", "no error"},
    {Error::invalid_value, "CUDA_ERROR_INVALID_VALUE", "cudaErrorInvalidValue", "invalid argument"},
    {Error::out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation",
     "out of memory"},
    {Error::no_device, "CUDA_ERROR_NO_DEVICE", "cudaErrorNoDevice",
     "no CUDA-capable device is detected"},
    {Error::invalid_device, "CUDA_ERROR_INVALID_DEVICE", "cudaErrorInvalidDevice",
     "invalid device ordinal"},
    {Error::invalid_image, "CUDA_ERROR_INVALID_IMAGE", "cudaErrorInvalidKernelImage",
     "device kernel image is invalid"},
    {Error::invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "cudaErrorInvalidResourceHandle",
     "invalid resource handle"},
    {Error::not_found, "CUDA_ERROR_NOT_FOUND", "cudaErrorSymbolNotFound", "named symbol not found"},
    {Error::not_ready, "CUDA_ERROR_NOT_READY", "cudaErrorNotReady", "device not ready"},
    {Error::launch_failed, "CUDA_ERROR_LAUNCH_FAILED", "cudaErrorLaunchFailure",
     "unspecified launch failure"},
    {Error::not_supported, "CUDA_ERROR_NOT_SUPPORTED", "cudaErrorNotSupported",
     "operation not supported"},
    {Error::capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {Error::capture_invalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {Error::capture_unmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "cudaErrorStreamCaptureUnmatched", "capture was not initiated in this stream"},
    {Error::capture_unjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
     "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {Error::capture_isolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"},
    {Error::capture_implicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {Error::captured_event, "CUDA_ERROR_CAPTURED_EVENT", "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {Error::capture_wrong_thread, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {Error::unknown, "CUDA_ERROR_UNKNOWN", "cudaErrorUnknown", "unknown error"},
};

const Entry& entry(int error) {
    for (const Entry& e : table)
        if (static_cast<int>(e.error) == error) return e;
    return table[std::size(table) - 1];
}

thread_local Error last = Error::success;       // as cudaGetLastError gives it
thread_local Error explained = Error::success;  // what `explanation` is about
thread_local std::string explanation;

}  // namespace

void refuse(Error error, const char* format, ...) {
    va_list values, again;
    va_start(values, format);
    va_copy(again, values);
    std::vector<char> buffer(static_cast<size_t>(vsnprintf(nullptr, 0, format, values)) + 1);
    va_end(values);
    vsnprintf(buffer.data(), buffer.size(), format, again);
    va_end(again);
    throw Refusal{error, buffer.data()};
}

int report(Error error, const std::string& words) {
    last = explained = error;
    explanation = words;
    if (driver().options.verbose)
        fprintf(stderr, "[softgpu] %s: %s\n", driver_name(static_cast<int>(error)), words.c_str());
    return static_cast<int>(error);
}

int last_error(bool taken) {
    const int error = static_cast<int>(last);
    if (taken) last = Error::success;
    return error;
}

const char* driver_name(int error) {
    return entry(error).driver;
}
const char* runtime_name(int error) {
    return entry(error).runtime;
}

const char* words_of(int error) {
    if (error && error == static_cast<int>(explained)) return explanation.c_str();
    return entry(error).words;
}

}  // namespace softgpu
