//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Fields of exec.kernel to the schema's structs, one line a kernel.
//
#include "compiler/Artifact/Emit/Emit.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace mlc;

namespace {

/// Reads the fields of one kernel; remembers the first that is missing or of the wrong kind.
class Fields {
public:
  explicit Fields(exec::KernelOp kernel) : kernel(kernel) {}

  uint64_t integer(StringRef name) {
    auto value = get<IntegerAttr>(name);
    return value ? uint64_t(value.getInt()) : 0;
  }
  float real(StringRef name) {
    auto value = get<FloatAttr>(name);
    return value ? value.getValue().convertToFloat() : 0;
  }
  bool boolean(StringRef name) {
    auto value = get<BoolAttr>(name);
    return value && value.getValue();
  }
  fb::WeightDesc weight(StringRef name) {
    auto value = get<exec::WeightAttr>(name);
    if (!value)
      return {};
    return fb::WeightDesc(value.getN(), value.getK(), value.getGroup(), fb::WeightFormat(value.getFormat()),
                          value.getAsymmetric());
  }
  /// An enumerator by its schema name; `names` ends with null.
  template <typename Enum> Enum enumerator(StringRef name, const char *const *names) {
    auto value = get<StringAttr>(name);
    for (unsigned i = 0; value && names[i]; ++i)
      if (value.getValue() == StringRef(names[i]).rtrim('_'))
        return Enum(i);
    if (value)
      fail(name, "is no enumerator of the schema");
    return Enum(0);
  }
  bool ok() {
    if (good && used != kernel.getFields().size())
      fail("", "has more fields than its schema struct");
    return good;
  }

private:
  template <typename Attribute> Attribute get(StringRef name) {
    auto value = kernel.getFields().getAs<Attribute>(name);
    ++used;
    if (!value)
      fail(name, "is missing or of the wrong kind");
    return value;
  }
  void fail(StringRef name, StringRef what) {
    if (good)
      kernel.emitOpError() << (name.empty() ? "" : "field ") << name << (name.empty() ? "" : " ") << what;
    good = false;
  }
  exec::KernelOp kernel;
  size_t used = 0;
  bool good = true;
};

template <typename Struct> fb::KernelAttrsUnion made(Struct fields) {
  fb::KernelAttrsUnion attrs;
  attrs.Set(std::move(fields));
  return attrs;
}

fb::XnnWindowAttrs windowOf(Fields &f) {
  return fb::XnnWindowAttrs(f.integer("batch"), f.integer("height"), f.integer("width"), f.integer("out_height"),
                            f.integer("out_width"), f.integer("in"), f.integer("out"), f.integer("groups"),
                            f.integer("kernel_height"), f.integer("kernel_width"), f.integer("stride_height"),
                            f.integer("stride_width"), f.integer("dilation_height"), f.integer("dilation_width"),
                            f.integer("pad_top"), f.integer("pad_left"), f.integer("pad_bottom"),
                            f.integer("pad_right"), f.boolean("has_bias"));
}

fb::LinearAttrs linearOf(Fields &f) {
  return fb::LinearAttrs(f.weight("weight"), f.boolean("quantized_input"), f.boolean("has_bias"),
                         f.boolean("has_residual"), f.boolean("gated"),
                         f.enumerator<fb::Activation>("activation", fb::EnumNamesActivation()), f.integer("out_group"),
                         f.integer("out_sum_group"), f.boolean("bf16"));
}

using Reader = fb::KernelAttrsUnion (*)(Fields &);

Reader readerOf(StringRef kernel) {
  return llvm::StringSwitch<Reader>(kernel)
      .Case("embedding", [](Fields &f) { return made(fb::EmbeddingAttrs(f.weight("weight"), f.real("scale"))); })
      .Case("quantize_rows",
            [](Fields &f) {
              return made(fb::QuantizeRowsAttrs(f.integer("k"), f.integer("group"), f.integer("sum_group")));
            })
      .Case("linear", [](Fields &f) { return made(linearOf(f)); })
      .Case("norm_linear",
            [](Fields &f) { return made(fb::NormLinearAttrs(linearOf(f), f.real("eps"), f.real("offset"))); })
      .Cases("rms_norm", "add_rms_norm",
             [](Fields &f) { return made(fb::RmsNormAttrs(f.integer("width"), f.real("eps"), f.real("offset"))); })
      .Case("rope_angles",
            [](Fields &f) {
              return made(fb::RopeAnglesAttrs(
                  f.integer("rotary_dim"), f.enumerator<fb::RopeScaling>("scaling", fb::EnumNamesRopeScaling()),
                  f.real("theta"), f.real("factor"), f.real("attention_factor"), f.integer("original_context")));
            })
      .Case("rope",
            [](Fields &f) {
              return made(fb::RopeAttrs(f.integer("heads"), f.integer("head_dim"), f.integer("rotary_dim"),
                                        f.boolean("interleaved")));
            })
      .Case("kv_append",
            [](Fields &f) { return made(fb::KvAppendAttrs(f.integer("kv_heads"), f.integer("head_dim"))); })
      .Case("attention",
            [](Fields &f) {
              return made(fb::AttentionAttrs(f.integer("heads"), f.integer("kv_heads"), f.integer("head_dim"),
                                             f.real("scale"), f.real("softcap"), f.integer("window"),
                                             f.enumerator<fb::Products>("products", fb::EnumNamesProducts())));
            })
      .Case("gated_activation",
            [](Fields &f) {
              return made(
                  fb::GatedActivationAttrs(f.enumerator<fb::Activation>("activation", fb::EnumNamesActivation())));
            })
      .Case("unary",
            [](Fields &f) {
              return made(fb::UnaryAttrs(f.enumerator<fb::Activation>("activation", fb::EnumNamesActivation()),
                                         f.real("scale_in"), f.real("scale_out")));
            })
      .Cases("binary", "xnnpack.binary",
             [](Fields &f) { return made(fb::BinaryAttrs(f.enumerator<fb::Binary>("op", fb::EnumNamesBinary()))); })
      .Case("all_reduce",
            [](Fields &f) { return made(fb::AllReduceAttrs(f.integer("ranks"), f.boolean("has_residual"))); })
      .Case("gather_rows", [](Fields &f) { return made(fb::GatherRowsAttrs(f.integer("columns"))); })
      .Case("conv1d_causal",
            [](Fields &f) {
              return made(fb::Conv1dAttrs(f.integer("channels"), f.integer("kernel"),
                                          f.enumerator<fb::Activation>("activation", fb::EnumNamesActivation()),
                                          f.boolean("has_bias")));
            })
      .Case("ssd",
            [](Fields &f) {
              return made(fb::SsdAttrs(f.integer("heads"), f.integer("head_dim"), f.integer("groups"),
                                       f.integer("state"), f.real("dt_min"), f.real("dt_max"), f.boolean("log_a"),
                                       f.enumerator<fb::Products>("products", fb::EnumNamesProducts())));
            })
      .Case("gated_rms_norm",
            [](Fields &f) {
              return made(fb::GatedRmsNormAttrs(f.integer("group"), f.real("eps"),
                                                f.enumerator<fb::Activation>("activation", fb::EnumNamesActivation()),
                                                f.boolean("norm_before_gate")));
            })
      .Case("moe_route",
            [](Fields &f) {
              return made(fb::MoeRouteAttrs(f.integer("experts"), f.integer("top_k"), f.integer("groups"),
                                            f.integer("top_groups"), f.real("scale"),
                                            f.enumerator<fb::RouterForm>("form", fb::EnumNamesRouterForm()),
                                            f.boolean("normalize"), f.boolean("has_bias")));
            })
      .Case("moe_up",
            [](Fields &f) {
              return made(fb::MoeUpAttrs(f.weight("weight"), f.integer("experts"), f.integer("top_k"),
                                         f.integer("stride"), f.integer("gate_distance"), f.integer("out_group"),
                                         f.integer("out_sum_group"),
                                         f.enumerator<fb::Activation>("activation", fb::EnumNamesActivation()),
                                         f.boolean("quantized_input"), f.boolean("bf16")));
            })
      .Case("moe_down",
            [](Fields &f) {
              return made(fb::MoeDownAttrs(f.weight("weight"), f.integer("experts"), f.integer("top_k"),
                                           f.boolean("quantized_input"), f.boolean("bf16"), f.boolean("has_residual")));
            })
      .Case("scale_rows",
            [](Fields &f) {
              return made(fb::ScaleRowsAttrs(f.enumerator<fb::Activation>("activation", fb::EnumNamesActivation())));
            })
      .Cases("xnnpack.conv", "xnnpack.conv_transpose", "xnnpack.max_pool", "xnnpack.average_pool",
             [](Fields &f) { return made(windowOf(f)); })
      .Case("xnnpack.conv_qs8",
            [](Fields &f) {
              return made(fb::XnnQuantizedConvAttrs(windowOf(f), f.real("scale"), int8_t(f.integer("zero_in")),
                                                    int8_t(f.integer("zero_out")), f.boolean("has_scales")));
            })
      .Case("xnnpack.resize",
            [](Fields &f) {
              return made(
                  fb::XnnResizeAttrs(f.integer("batch"), f.integer("height"), f.integer("width"), f.integer("channels"),
                                     f.integer("out_height"), f.integer("out_width"),
                                     f.enumerator<fb::XnnCoordinates>("coordinates", fb::EnumNamesXnnCoordinates())));
            })
      .Cases("xnnpack.linear", "xnnpack.linear_qd8",
             [](Fields &f) {
               return made(
                   fb::XnnLinearAttrs(f.integer("n"), f.integer("k"), f.boolean("has_bias"), f.boolean("transposed")));
             })
      .Case("xnnpack.linear_qb4",
            [](Fields &f) { return made(fb::XnnBlockLinearAttrs(f.integer("n"), f.integer("k"), f.integer("block"))); })
      .Case("xnnpack.softmax", [](Fields &f) { return made(fb::XnnSoftmaxAttrs(f.integer("channels"))); })
      .Case(
          "xnnpack.unary",
          [](Fields &f) { return made(fb::XnnUnaryAttrs(f.enumerator<fb::XnnUnary>("op", fb::EnumNamesXnnUnary()))); })
      .Case("copy", [](Fields &) { return made(fb::NoAttrs()); })
      .Default(nullptr);
}

} // namespace

FailureOr<fb::KernelAttrsUnion> mlc::emitKernelAttrs(exec::KernelOp kernel) {
  Reader reader = readerOf(kernel.getName());
  if (!reader)
    return kernel.emitOpError("kernel \"") << kernel.getName() << "\" has no attributes in the schema";
  Fields fields(kernel);
  fb::KernelAttrsUnion attrs = reader(fields);
  if (!fields.ok())
    return failure();
  return attrs;
}
