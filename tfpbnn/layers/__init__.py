"""Defines layers that draw their weights, or noise on inputs or outputs.

A folder for each kind: `linear` (dense, convolutions, embedding), `attention`,
`drawn` (recurrent, and any Keras layer), `dropout`, `lora` (adapters of frozen
layers), `members` (of an ensemble in one network), `heads` (the noise of
targets). `random_layer` is what they share, `kl` brings their KL into the loss.
To add a layer: a file in the folder of its kind, and its name below; a new
kind: a folder.
"""

from tfpbnn.layers.attention.group_query_attention import (
    GroupQueryAttentionFlipout,
    GroupQueryAttentionLocalReparameterization,
    GroupQueryAttentionReparameterization,
)
from tfpbnn.layers.attention.multi_head_attention import (
    MultiHeadAttentionFlipout,
    MultiHeadAttentionLocalReparameterization,
    MultiHeadAttentionReparameterization,
)
from tfpbnn.layers.drawn.recurrent import (
    GRUReparameterization,
    LSTMReparameterization,
    SimpleRNNReparameterization,
)
from tfpbnn.layers.drawn.variational import Variational
from tfpbnn.layers.dropout.concrete_dropout import ConcreteDropout
from tfpbnn.layers.dropout.drop_connect import (
    Conv1DDropConnect,
    Conv2DDropConnect,
    Conv3DDropConnect,
    DenseDropConnect,
)
from tfpbnn.layers.dropout.mc_noise import (
    MCAlphaDropout,
    MCDropout,
    MCGaussianDropout,
    MCGaussianNoise,
)
from tfpbnn.layers.dropout.mc_spatial_dropout import (
    MCSpatialDropout1D,
    MCSpatialDropout2D,
    MCSpatialDropout3D,
)
from tfpbnn.layers.dropout.mc_wrapper import MCWrapper
from tfpbnn.layers.dropout.variational_dropout import VariationalDropout
from tfpbnn.layers.heads.homoscedastic_scale import HomoscedasticScale
from tfpbnn.layers.linear.conv import (
    Conv1DFlipout,
    Conv1DLocalReparameterization,
    Conv1DReparameterization,
    Conv2DFlipout,
    Conv2DLocalReparameterization,
    Conv2DReparameterization,
    Conv3DFlipout,
    Conv3DLocalReparameterization,
    Conv3DReparameterization,
)
from tfpbnn.layers.linear.conv_transpose import (
    Conv1DTransposeFlipout,
    Conv1DTransposeLocalReparameterization,
    Conv1DTransposeReparameterization,
    Conv2DTransposeFlipout,
    Conv2DTransposeLocalReparameterization,
    Conv2DTransposeReparameterization,
    Conv3DTransposeFlipout,
    Conv3DTransposeLocalReparameterization,
    Conv3DTransposeReparameterization,
)
from tfpbnn.layers.linear.dense import (
    DenseFlipout,
    DenseLocalReparameterization,
    DenseReparameterization,
)
from tfpbnn.layers.linear.depthwise_conv import (
    DepthwiseConv1DFlipout,
    DepthwiseConv1DLocalReparameterization,
    DepthwiseConv1DReparameterization,
    DepthwiseConv2DFlipout,
    DepthwiseConv2DLocalReparameterization,
    DepthwiseConv2DReparameterization,
)
from tfpbnn.layers.linear.einsum_dense import (
    EinsumDenseFlipout,
    EinsumDenseLocalReparameterization,
    EinsumDenseReparameterization,
)
from tfpbnn.layers.linear.embedding import (
    EmbeddingFlipout,
    EmbeddingLocalReparameterization,
    EmbeddingReparameterization,
)
from tfpbnn.layers.linear.separable_conv import (
    SeparableConv1DFlipout,
    SeparableConv1DLocalReparameterization,
    SeparableConv1DReparameterization,
    SeparableConv2DFlipout,
    SeparableConv2DLocalReparameterization,
    SeparableConv2DReparameterization,
)
from tfpbnn.layers.lora.lora import LoRA
from tfpbnn.layers.members.batch_ensemble import (
    Conv1DBatchEnsemble,
    Conv1DTransposeBatchEnsemble,
    Conv2DBatchEnsemble,
    Conv2DTransposeBatchEnsemble,
    Conv3DBatchEnsemble,
    Conv3DTransposeBatchEnsemble,
    DenseBatchEnsemble,
    DepthwiseConv1DBatchEnsemble,
    DepthwiseConv2DBatchEnsemble,
    EinsumDenseBatchEnsemble,
    EmbeddingBatchEnsemble,
    RandomSign,
)
from tfpbnn.layers.members.masksembles import Masksembles
from tfpbnn.layers.members.mimo import JoinMembers, SplitMembers
from tfpbnn.layers.members.packed import (
    PackedConv1D,
    PackedConv2D,
    PackedConv3D,
    PackedDense,
    PackedFlatten,
)
from tfpbnn.layers.members.rank1 import (
    Conv1DRank1,
    Conv1DTransposeRank1,
    Conv2DRank1,
    Conv2DTransposeRank1,
    Conv3DRank1,
    Conv3DTransposeRank1,
    DenseRank1,
    DepthwiseConv1DRank1,
    DepthwiseConv2DRank1,
    EinsumDenseRank1,
    EmbeddingRank1,
)

# The spellings of tfp.layers.
Convolution1DFlipout = Conv1DFlipout
Convolution1DReparameterization = Conv1DReparameterization
Convolution2DFlipout = Conv2DFlipout
Convolution2DReparameterization = Conv2DReparameterization
Convolution3DFlipout = Conv3DFlipout
Convolution3DReparameterization = Conv3DReparameterization

__all__ = [
    "ConcreteDropout",
    "Conv1DBatchEnsemble",
    "Conv1DDropConnect",
    "Conv1DFlipout",
    "Conv1DLocalReparameterization",
    "Conv1DRank1",
    "Conv1DReparameterization",
    "Conv1DTransposeBatchEnsemble",
    "Conv1DTransposeFlipout",
    "Conv1DTransposeLocalReparameterization",
    "Conv1DTransposeRank1",
    "Conv1DTransposeReparameterization",
    "Conv2DBatchEnsemble",
    "Conv2DDropConnect",
    "Conv2DFlipout",
    "Conv2DLocalReparameterization",
    "Conv2DRank1",
    "Conv2DReparameterization",
    "Conv2DTransposeBatchEnsemble",
    "Conv2DTransposeFlipout",
    "Conv2DTransposeLocalReparameterization",
    "Conv2DTransposeRank1",
    "Conv2DTransposeReparameterization",
    "Conv3DBatchEnsemble",
    "Conv3DDropConnect",
    "Conv3DFlipout",
    "Conv3DLocalReparameterization",
    "Conv3DRank1",
    "Conv3DReparameterization",
    "Conv3DTransposeBatchEnsemble",
    "Conv3DTransposeFlipout",
    "Conv3DTransposeLocalReparameterization",
    "Conv3DTransposeRank1",
    "Conv3DTransposeReparameterization",
    "Convolution1DFlipout",
    "Convolution1DReparameterization",
    "Convolution2DFlipout",
    "Convolution2DReparameterization",
    "Convolution3DFlipout",
    "Convolution3DReparameterization",
    "DenseBatchEnsemble",
    "DenseDropConnect",
    "DenseFlipout",
    "DenseLocalReparameterization",
    "DenseRank1",
    "DenseReparameterization",
    "DepthwiseConv1DBatchEnsemble",
    "DepthwiseConv1DFlipout",
    "DepthwiseConv1DLocalReparameterization",
    "DepthwiseConv1DRank1",
    "DepthwiseConv1DReparameterization",
    "DepthwiseConv2DBatchEnsemble",
    "DepthwiseConv2DFlipout",
    "DepthwiseConv2DLocalReparameterization",
    "DepthwiseConv2DRank1",
    "DepthwiseConv2DReparameterization",
    "EinsumDenseBatchEnsemble",
    "EinsumDenseFlipout",
    "EinsumDenseLocalReparameterization",
    "EinsumDenseRank1",
    "EinsumDenseReparameterization",
    "EmbeddingBatchEnsemble",
    "EmbeddingFlipout",
    "EmbeddingLocalReparameterization",
    "EmbeddingRank1",
    "EmbeddingReparameterization",
    "GRUReparameterization",
    "GroupQueryAttentionFlipout",
    "GroupQueryAttentionLocalReparameterization",
    "GroupQueryAttentionReparameterization",
    "HomoscedasticScale",
    "JoinMembers",
    "LSTMReparameterization",
    "LoRA",
    "MCAlphaDropout",
    "MCDropout",
    "MCGaussianDropout",
    "MCGaussianNoise",
    "MCSpatialDropout1D",
    "MCSpatialDropout2D",
    "MCSpatialDropout3D",
    "MCWrapper",
    "Masksembles",
    "MultiHeadAttentionFlipout",
    "MultiHeadAttentionLocalReparameterization",
    "MultiHeadAttentionReparameterization",
    "PackedConv1D",
    "PackedConv2D",
    "PackedConv3D",
    "PackedDense",
    "PackedFlatten",
    "RandomSign",
    "SeparableConv1DFlipout",
    "SeparableConv1DLocalReparameterization",
    "SeparableConv1DReparameterization",
    "SeparableConv2DFlipout",
    "SeparableConv2DLocalReparameterization",
    "SeparableConv2DReparameterization",
    "SimpleRNNReparameterization",
    "SplitMembers",
    "Variational",
    "VariationalDropout",
]
